package engine

import (
	"bytes"
	"context"
	"io"

	"github.com/valyala/fasthttp"
)

// EmptyImage makes an image without any files, named repo:latest.
func (c *Client) EmptyImage(ctx context.Context, repo string) error {
	r := post("make image", "/images/create", query("fromSrc", "-", "repo", repo), nil)
	r.object, r.archive = repo, bytes.NewReader(make([]byte, 1024)) // a tar file of nothing
	a, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer a.close()
	return followPull(a.body, r, nil)
}

// Unpack unpacks a tar stream, compressed or not, into a container, and into the volumes that are mounted in it, from its
// root on. The container need not run. An error leaves what was unpacked so far.
func (c *Client) Unpack(ctx context.Context, id string, archive io.Reader) error {
	r := post("unpack into container", "/containers/"+id+"/archive", query("path", "/", "noOverwriteDirNonDir", "1"), nil)
	r.method, r.object, r.archive, r.patience = fasthttp.MethodPut, id, archive, 0
	return c.do(ctx, r, nil)
}
