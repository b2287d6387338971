//! Tests that hold client, emulator and spec together; see the test targets of this package.
