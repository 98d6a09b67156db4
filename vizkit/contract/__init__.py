"""What a backend implements, and the techniques rely on; nothing here knows a technique or a framework."""
