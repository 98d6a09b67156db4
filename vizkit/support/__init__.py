"""What every floor may use and no user of the field would ask for: files, progress, memory, batches."""
