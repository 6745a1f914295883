"""The admin tool: commands that look at a store from outside. They open it, drive one flow, and print; flows think."""
