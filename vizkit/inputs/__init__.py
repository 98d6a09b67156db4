"""What a user gives: pictures, folders of them, and the number of the output that is asked about."""
