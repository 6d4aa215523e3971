from asyncio import BufferedProtocol

from ext.site import Entry

class Session(BufferedProtocol):
    def __init__(self, entry: Entry) -> None: ...
