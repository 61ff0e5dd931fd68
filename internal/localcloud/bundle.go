package localcloud

import (
	"context"
	"fmt"
	"io"
	"time"

	"devctl/images"
)

// SaveServices writes an archive with the service images of the set, as podman loads it, and builds those that are
// missing.
func (c *Cloud) SaveServices(ctx context.Context, set *images.Set, w io.Writer, log func(string)) error {
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
	const action = "save the service images"
	saved, err := c.docker.ImageSave(ctx, set.Refs())
	if err != nil {
		return c.explain(ctx, action, err)
	}
	defer func() { _ = saved.Close() }()
	size, err := io.Copy(w, saved)
	if err != nil {
		return c.explain(ctx, action, err)
	}
	log(fmt.Sprintf("image bundle: %d MB saved in %s", size>>20, seconds(started)))
	return nil
}
