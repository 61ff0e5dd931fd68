// Package version holds the version of devctl and devctld, stamped at link time.
package version

// Version is set with -ldflags "-X devctl/internal/version.Version=…".
var Version = "0.1.0-dev"
