package engine

import (
	"context"

	"resin-supervisor/update/engine/doc"
)

// Images lists the images with their tags and digests.
func (c *Client) Images(ctx context.Context) ([]doc.ImageSummary, error) {
	return fetch[[]doc.ImageSummary](ctx, c, get("list images", "/images/json", query("digests", "1")))
}

// Image inspects an image by id, tag or digest.
func (c *Client) Image(ctx context.Context, ref string) (*doc.Image, error) {
	return inspect[doc.Image](ctx, c, get("inspect image", "/images/"+ref+"/json", nil).about(ref))
}

// TagImage names an image repo:tag, repo:latest when tag is empty; that it has the name already is
// success.
func (c *Client) TagImage(ctx context.Context, id, repo, tag string) error {
	return c.do(ctx, post("tag image", "/images/"+id+"/tag", query("repo", repo, "tag", tag), nil).about(id), nil)
}

// RemoveImage takes away a tag, or the image when ref is its id or last tag; what went is
// returned, nothing when there was no such image. A conflict means that a container uses it.
func (c *Client) RemoveImage(ctx context.Context, ref string, force bool) ([]doc.ImageDeleted, error) {
	r := remove("remove image", "/images/"+ref, query("force", flag(force))).about(ref)
	return fetch[[]doc.ImageDeleted](ctx, c, r)
}
