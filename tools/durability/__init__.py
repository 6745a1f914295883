"""What each level of durability loses: a server is killed many times under writers, and the acknowledged writes that are gone are counted."""
