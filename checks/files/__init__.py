"""Reading and writing files of arrays: the formats, a candidate's file understood, golden vectors."""
