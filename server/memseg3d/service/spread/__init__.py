"""Several workers on one data folder: who has which session, and the door that leads each request to who has it."""
