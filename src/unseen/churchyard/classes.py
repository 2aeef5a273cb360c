"""The classes of the churchyard, in label order; every pixel has one."""

CLASS_NAMES = (
    "sky",
    "cloud",
    "mountain",
    "tree",
    "grass",
    "path",
    "road",
    "building",
    "roof",
    "window",
    "door",
    "dome",
    "car",
    "person",
    "fence",
    "gravestone",
    "lamp",
    "signboard",
    "palm",
    "flag",
    "fountain",
    "horse",
)
INDEX = {name: index for index, name in enumerate(CLASS_NAMES)}

# What `without` may take away. The rest holds the scene up: sky and grass lie behind everything,
# and a building without its walls or roof would leave its windows in the air.
REMOVABLE = tuple(name for name in CLASS_NAMES if name not in {"sky", "grass", "building", "roof"})

# What stands in some scenes, where the rest makes up all of them.
THINGS = CLASS_NAMES[CLASS_NAMES.index("dome") :]

# A pixel's label is the class with the largest weight × covered sub-pixels; a tie goes to the later
# class. Things thinner than a pixel count double, so that one is labelled where it covers a third
# of the pixel and not where rasterisation happens to favour it.
THIN = ("fence", "lamp", "person", "palm", "flag", "signboard")
