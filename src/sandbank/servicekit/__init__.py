"""What every service does alike: settings, logs, supervision."""
