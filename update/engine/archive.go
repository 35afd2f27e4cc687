package engine

import (
	"bytes"
	"context"
	"io"

	"github.com/valyala/fasthttp"
)

// EmptyImage creates an image without files, named repo:latest.
func (c *Client) EmptyImage(ctx context.Context, repo string) error {
	r := post("create image", "/images/create", query("fromSrc", "-", "repo", repo), nil)
	r.object, r.archive = repo, bytes.NewReader(make([]byte, 1024)) // an empty tar file
	a, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer a.close()
	return followPull(a.body, r, nil)
}

// Unpack unpacks a tar stream, compressed or not, into the root directory of a container and into its volumes. The
// container need not run. After an error, the files that were already unpacked stay.
func (c *Client) Unpack(ctx context.Context, id string, archive io.Reader) error {
	r := post("unpack into container", "/containers/"+id+"/archive", query("path", "/", "noOverwriteDirNonDir", "1"), nil)
	r.method, r.object, r.archive, r.timeout = fasthttp.MethodPut, id, archive, 0
	return c.do(ctx, r, nil)
}
