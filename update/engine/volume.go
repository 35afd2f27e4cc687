package engine

import (
	"context"

	"resin-supervisor/update/engine/doc"
)

// Volumes lists all volumes.
func (c *Client) Volumes(ctx context.Context) ([]doc.Volume, error) {
	list, err := fetch[doc.VolumeList](ctx, c, get("list volumes", "/volumes", nil))
	return list.Volumes, err
}

// Volume inspects a volume.
func (c *Client) Volume(ctx context.Context, name string) (*doc.Volume, error) {
	return inspect[doc.Volume](ctx, c, get("inspect volume", "/volumes/"+name, nil).about(name))
}

// CreateVolume makes a volume. A volume of that name that exists is returned as it is, whatever
// its labels: inspect first.
func (c *Client) CreateVolume(ctx context.Context, body *doc.VolumeCreate) (*doc.Volume, error) {
	return inspect[doc.Volume](ctx, c, post("create volume", "/volumes/create", nil, body).about(body.Name))
}

// RemoveVolume removes a volume; that it is gone already is success. A conflict means that a
// container, running or not, uses it.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	return c.do(ctx, remove("remove volume", "/volumes/"+name, nil).about(name), nil)
}
