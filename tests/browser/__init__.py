"""Tests in a real Chromium. A package, for pytest ends a fixture of scope `package` only where there is one."""
