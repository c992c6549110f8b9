"""Record batches: their header, the records in them, their compression and checksum."""
