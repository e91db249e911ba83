from functools import partial

from . import _fields

get, all, set, remove = (
    partial(it, "trailers") for it in (_fields.header, _fields.headers, _fields.set_header, _fields.remove_header)
)
