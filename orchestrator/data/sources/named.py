"""How a data source is named, in one sentence for help and messages. It must import nothing, as the help answers at
once.
"""

SOURCES = (
    "digits, scattered-digits, torchvision:NAME:FOLDER, hf:NAME or hf:NAME:CONFIG, a .csv file, or a folder: of "
    ".parquet or .tar files, of images (CLASS/*.png), or of prepared shards"
)
