"""What the embedded network is shown: scenes, users, and clips cut from them as sessions would cut them."""
