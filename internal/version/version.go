// Package version holds the version of devctl and devctld.
package version

// Version is the release that this source is, or will be. It is not stamped with the commit: devctld is part of
// what a machine is made from, so a build that changes nothing in it must not change its bytes.
const Version = "0.1.0"
