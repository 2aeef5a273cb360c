"""What every other folder of the package uses: errors, devices, plug-ins, files, progress, JSON."""
