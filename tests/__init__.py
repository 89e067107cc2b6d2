"""The promises of the project. A package, so that test files can share what they plant and measure."""
