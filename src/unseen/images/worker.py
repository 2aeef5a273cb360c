"""The decoding worker process: reads indices from stdin, writes prepared images to stdout.

Answers: `I`, the size of the image as it was read, and the prepared pixels; or a text after `B`
(the image is broken), `M` (memory ran out), `S` (the store refuses) or `F` (failure).
"""

import pickle
import struct
import traceback

from unseen.core.errors import ImageError, StoreError
from unseen.images.child import Caller
from unseen.images.decode import out_of_memory
from unseen.images.protocol import read_image

REQUEST = struct.Struct("<q")  # the index of an image
SIZE = struct.Struct("<qq")  # height and width as it was read


def main() -> None:
    """Serve until the input ends."""
    caller = Caller()
    try:
        source, preparation = pickle.loads(caller.receive_message() or b"")
    except Exception:  # noqa: BLE001 reported to the caller, who raises
        caller.answer_message(b"F", traceback.format_exc().encode("utf-8", "replace"))
        return
    while request := caller.receive(REQUEST.size):
        try:
            read = read_image(source, *REQUEST.unpack(request))
            image = preparation.apply(read)
        except ImageError as error:
            kind, text = b"B", str(error)
        except StoreError as error:
            kind, text = b"S", str(error)
        except MemoryError as error:
            kind, text = b"M", str(error) or str(out_of_memory(source.spec))
        except Exception:  # noqa: BLE001 reported to the caller, who raises
            kind, text = b"F", traceback.format_exc()
        else:
            caller.answer(b"I", SIZE.pack(*read.shape[1:]), image.data.cast("B"))
            continue
        caller.answer_message(kind, text.encode("utf-8", "replace"))
