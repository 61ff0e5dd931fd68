package localcloud

import (
	"context"
	"fmt"
	"io"
	"time"

	"devctl/images"
)

// SaveService writes an archive with one of the set's service images, as podman loads it. It builds what is missing: all of
// them at once, because whoever wants one wants the others next.
func (c *Cloud) SaveService(ctx context.Context, set *images.Set, image string, w io.Writer, log func(string)) error {
	unlock, err := c.lockCache(ctx, log)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.ensureImages(ctx, set.Base, set.Services, log); err != nil {
		return err
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	action := "save image " + image
	saved, err := c.docker.ImageSave(ctx, []string{image})
	if err != nil {
		return c.explain(ctx, action, err)
	}
	defer func() { _ = saved.Close() }()
	size, err := io.Copy(w, saved)
	if err != nil {
		return c.explain(ctx, action, err)
	}
	log(fmt.Sprintf("image bundle: %s, %d MB, saved in %s", image, size>>20, seconds(started)))
	return nil
}
