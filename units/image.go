package units

import (
	"strings"
)

// imagePrefix begins the names of units that fetch images.
const imagePrefix = "devctl-image-"

// Environment of `devctld image`.
const (
	KeyImage  = "DEVCTL_IMAGE"  // reference
	KeyImages = "DEVCTL_IMAGES" // folder with its archive, as a URL
)

// Image returns the unit that fetches the image of a service on a cloud and loads it into podman's store, unless it is there:
// then nothing is asked for, so a machine starts again without a bucket. before are units that wait for it at boot.
//
// It is a unit, and no part of the service's, so that a new image is there before the old service stops. Nor does the service's
// unit wait for it: the service that runs has to come back from a crash while the image of the next one is on its way.
func Image(service, ref, folder string, before ...string) Unit {
	s := daemon("image")
	s.description = "Container image of " + service
	s.documentation = "https://docs.podman.io/en/latest/markdown/podman-load.1.html"
	s.wants = []string{"network-online.target"}
	s.before = before
	s.kind = "oneshot"
	s.remainAfterExit = true
	s.restart = "on-failure"
	s.startTimeout = "1h" // it tries on by itself; this is for what nobody thought of
	s.environment = []string{KeyImage + "=" + ref, KeyImages + "=" + folder}
	s.environmentFiles = nil
	return s.unit(imagePrefix + service + ".service")
}

// IsImage tells whether a unit fetches an image.
func IsImage(name string) bool { return strings.HasPrefix(name, imagePrefix) }
