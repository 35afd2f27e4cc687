package engine

import (
	"context"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

// Containers lists the containers, running or not, that have all the labels. A label is a name or name=value.
func (c *Client) Containers(ctx context.Context, labels ...string) (v []doc.ContainerSummary, err error) {
	r := get("list containers", "/containers/json", query("all", "1", "filters", labelFilter(labels)))
	err = c.do(ctx, r, &v)
	return v, err
}

// Container inspects a container by id or name.
func (c *Client) Container(ctx context.Context, id string) (*doc.Container, error) {
	v := new(doc.Container)
	return v, c.do(ctx, get("inspect container", "/containers/"+id+"/json", nil).about(id), v)
}

// CreateContainer creates a container without starting it. A conflict means that the name is taken, "not found" that the
// image is missing.
func (c *Client) CreateContainer(ctx context.Context, name string, body *doc.Create) (v doc.Created, err error) {
	r := post("create container", "/containers/create", query("name", name), body).about(name)
	err = c.do(ctx, r, &v)
	return v, err
}

// StartContainer starts a container. It succeeds if the container already runs. "Not found" means that the container, or
// an object that it needs, such as a network, does not exist.
func (c *Client) StartContainer(ctx context.Context, id string) error {
	r := post("start container", "/containers/"+id+"/start", nil, nil).about(id)
	return c.do(ctx, r.allow(fasthttp.StatusNotModified), nil)
}

// StopContainer stops a container and waits for its end, which may take as long as the container's stop timeout. It
// succeeds also with status 304, the container was already stopped, and 404, it does not exist.
func (c *Client) StopContainer(ctx context.Context, id string) (status int, err error) {
	r := post("stop container", "/containers/"+id+"/stop", nil, nil).about(id).within(0)
	a, err := c.open(ctx, r.allow(fasthttp.StatusNotModified, fasthttp.StatusNotFound))
	if err != nil {
		return 0, err
	}
	return a.status, c.decode(ctx, r, a, nil)
}

// RemoveContainer removes a container and its anonymous volumes. It succeeds if there is no such container. Without force,
// a conflict means that the container runs or is being removed.
func (c *Client) RemoveContainer(ctx context.Context, id string, force bool) error {
	r := remove("remove container", "/containers/"+id, query("v", "1", "force", flag(force)))
	return c.do(ctx, r.about(id), nil)
}

// DetachContainer removes a container as RemoveContainer does without force, but keeps its anonymous volumes.
func (c *Client) DetachContainer(ctx context.Context, id string) error {
	return c.do(ctx, remove("remove container", "/containers/"+id, nil).about(id), nil)
}

// RenameContainer gives a container another name. If it already has that name, the engine answers 400.
func (c *Client) RenameContainer(ctx context.Context, id, name string) error {
	return c.do(ctx, post("rename container", "/containers/"+id+"/rename", query("name", name), nil).about(id), nil)
}

// UpdateContainer changes settings of a container without creating it again.
func (c *Client) UpdateContainer(ctx context.Context, id string, body *doc.ContainerUpdate) error {
	return c.do(ctx, post("update container", "/containers/"+id+"/update", nil, body).about(id), nil)
}
