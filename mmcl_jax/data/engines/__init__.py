"""What runs one function on many items: processes of this machine, or the workers of Apache Beam."""
