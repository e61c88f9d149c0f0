"""Arrays of a library that NumPy knows by a protocol only."""


class Exported:
    """What has nothing but ``__dlpack__``."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()
