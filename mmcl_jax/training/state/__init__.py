"""What training changes: parameters, statistics, moments, averages, queues."""
