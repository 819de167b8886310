"""The own files of boosting libraries: their structure, checked before native code follows it."""
