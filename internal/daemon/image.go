package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/backoff"
	"devctl/internal/digitalocean"
	"devctl/internal/imageload"
	"devctl/internal/metadata"
	"devctl/units"
)

// loadImage loads the image that its unit names. It tries on until it has it: an archive may be on its way to the bucket, and
// a network may be slow to come up.
func loadImage(ctx context.Context, get getter, log *slog.Logger) error {
	image, folder := get(units.KeyImage), get(units.KeyImages)
	if image == "" || folder == "" {
		return fmt.Errorf("%s or %s is missing: they say which image, and where its archive is", units.KeyImage, units.KeyImages)
	}
	loader := imageload.Loader{Open: opener(metadata.DefaultBase), Podman: "podman", Dir: api.ImageArchives, Stall: time.Minute, Log: log}
	retry := backoff.Backoff{Min: time.Second, Max: time.Minute}
	for {
		err := loader.Load(ctx, image, folder)
		if err == nil {
			return nil
		}
		log.Warn("trying again soon", "error", err)
		if cause := retry.Wait(ctx); cause != nil {
			return cause
		}
	}
}

// opener asks buckets with what a machine has: on AWS its role, which may read the images of its services; on DigitalOcean
// nothing, images are no secret there.
func opener(base string) func(ctx context.Context, url string) (*http.Response, error) {
	return func(ctx context.Context, url string) (*http.Response, error) {
		if !strings.HasPrefix(url, "s3://") {
			return digitalocean.Open(ctx, url)
		}
		client, err := aws.Client{Metadata: metadata.AWS{Base: base}}.Here(ctx)
		if err != nil {
			return nil, err
		}
		return client.Open(ctx, url)
	}
}
