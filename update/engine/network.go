package engine

import (
	"context"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

// Networks lists the networks that carry all the labels, each a name or name=value.
func (c *Client) Networks(ctx context.Context, labels ...string) (v []doc.Network, err error) {
	err = c.do(ctx, get("list networks", "/networks", query("filters", labelFilter(labels))), &v)
	return v, err
}

// Network inspects a network by id or name. The engine refuses a name that several networks share
// with 400.
func (c *Client) Network(ctx context.Context, name string) (*doc.Network, error) {
	v := new(doc.Network)
	return v, c.do(ctx, get("inspect network", "/networks/"+name, nil).about(name), v)
}

// CreateNetwork makes a network. A conflict means that the name is taken, not found that its
// driver is missing.
func (c *Client) CreateNetwork(ctx context.Context, body *doc.NetworkCreate) (v doc.Created, err error) {
	err = c.do(ctx, post("create network", "/networks/create", nil, body).about(body.Name), &v)
	return v, err
}

// ConnectNetwork attaches a container to a further network; that it is attached already is
// success. The engine accepts a network that does not exist while the container is not running;
// starting it then says not found (docs/spec/engine.md 1.7).
func (c *Client) ConnectNetwork(ctx context.Context, network string, body *doc.Connect) error {
	r := post("connect network", "/networks/"+network+"/connect", nil, body).about(network)
	err := c.do(ctx, r, nil)
	if status(err) == fasthttp.StatusForbidden && c.isConnected(ctx, network, body.Container) {
		return nil
	}
	return err
}

// isConnected settles what a 403 of connect means: the engine says it both of a container that is
// attached already and of one that may not be.
func (c *Client) isConnected(ctx context.Context, network, container string) bool {
	have, err := c.Container(ctx, container)
	if err != nil {
		return false
	}
	for name, e := range have.NetworkSettings.Networks {
		if e.NetworkID == network || name == network && e.NetworkID != "" { // a refused one is listed without id
			return true
		}
	}
	return false
}

// RemoveNetwork removes a network, best by id since names can be shared; that it is gone already
// is success. The engine refuses with 403 while running containers are attached.
func (c *Client) RemoveNetwork(ctx context.Context, id string) error {
	return c.do(ctx, remove("remove network", "/networks/"+id, nil).about(id), nil)
}
