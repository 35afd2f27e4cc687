package engine

import (
	"context"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

// Networks lists the networks that have all the labels. A label is a name or name=value.
func (c *Client) Networks(ctx context.Context, labels ...string) (v []doc.Network, err error) {
	err = c.do(ctx, get("list networks", "/networks", query("filters", labelFilter(labels))), &v)
	return v, err
}

// Network inspects a network by id or name. If several networks share the name, the engine answers 400.
func (c *Client) Network(ctx context.Context, name string) (*doc.Network, error) {
	v := new(doc.Network)
	return v, c.do(ctx, get("inspect network", "/networks/"+name, nil).about(name), v)
}

// CreateNetwork creates a network. A conflict means that the name is taken, "not found" that the driver is missing.
func (c *Client) CreateNetwork(ctx context.Context, body *doc.NetworkCreate) (v doc.Created, err error) {
	err = c.do(ctx, post("create network", "/networks/create", nil, body).about(body.Name), &v)
	return v, err
}

// ConnectNetwork connects a container to one more network. It succeeds if the container is already connected. If the
// container does not run, the engine also accepts a network that does not exist: the start then fails with "not found"
// (docs/spec/engine.md 1.7).
func (c *Client) ConnectNetwork(ctx context.Context, network string, body *doc.Connect) error {
	r := post("connect to network", "/networks/"+network+"/connect", nil, body).about(network)
	err := c.do(ctx, r, nil)
	if status(err) == fasthttp.StatusForbidden && c.isConnected(ctx, network, body.Container) {
		return nil
	}
	return err
}

// isConnected finds out what a 403 of connect means. The engine answers it if the container is already connected, and if
// the connection is not allowed.
func (c *Client) isConnected(ctx context.Context, network, container string) bool {
	have, err := c.Container(ctx, container)
	if err != nil {
		return false
	}
	for name, e := range have.NetworkSettings.Networks {
		if e.NetworkID == network || name == network && e.NetworkID != "" { // a refused network is listed without id
			return true
		}
	}
	return false
}

// RemoveNetwork removes a network. Use the id: several networks can share a name. It succeeds if there is no such network.
// While running containers are connected to it, the engine answers 403.
func (c *Client) RemoveNetwork(ctx context.Context, id string) error {
	return c.do(ctx, remove("remove network", "/networks/"+id, nil).about(id), nil)
}
