"""The worker on Ray Serve: replicas on one data folder that Ray starts, watches, replaces and adds."""
