package engine

import (
	"context"

	"resin-supervisor/update/engine/doc"
)

// Volumes lists all volumes.
func (c *Client) Volumes(ctx context.Context) ([]doc.Volume, error) {
	var list doc.VolumeList
	err := c.do(ctx, get("list volumes", "/volumes", nil), &list)
	return list.Volumes, err
}

// Volume inspects a volume.
func (c *Client) Volume(ctx context.Context, name string) (*doc.Volume, error) {
	v := new(doc.Volume)
	return v, c.do(ctx, get("inspect volume", "/volumes/"+name, nil).about(name), v)
}

// CreateVolume creates a volume. If a volume of that name exists, it returns that volume unchanged, even with other labels:
// inspect first.
func (c *Client) CreateVolume(ctx context.Context, body *doc.VolumeCreate) (*doc.Volume, error) {
	v := new(doc.Volume)
	return v, c.do(ctx, post("create volume", "/volumes/create", nil, body).about(body.Name), v)
}

// RemoveVolume removes a volume. It succeeds if there is no such volume. A conflict means that a container, running or not,
// uses it.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	return c.do(ctx, remove("remove volume", "/volumes/"+name, nil).about(name), nil)
}
