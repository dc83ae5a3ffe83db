"""Pictures of what was found or annotated. Only needs `structures`, so that the runtime draws, too."""
