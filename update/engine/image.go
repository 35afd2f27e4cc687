package engine

import (
	"context"

	"resin-supervisor/update/engine/doc"
)

// Images lists the images with their tags and digests.
func (c *Client) Images(ctx context.Context) (v []doc.ImageSummary, err error) {
	err = c.do(ctx, get("list images", "/images/json", query("digests", "1")), &v)
	return v, err
}

// Image inspects an image by id, tag or digest.
func (c *Client) Image(ctx context.Context, ref string) (*doc.Image, error) {
	v := new(doc.Image)
	return v, c.do(ctx, get("inspect image", "/images/"+ref+"/json", nil).about(ref), v)
}

// TagImage names an image repo:tag, repo:latest when tag is empty; that it has the name already is
// success.
func (c *Client) TagImage(ctx context.Context, id, repo, tag string) error {
	return c.do(ctx, post("tag image", "/images/"+id+"/tag", query("repo", repo, "tag", tag), nil).about(id), nil)
}

// RemoveImage takes away a tag, or the image when ref is its id or last tag; what went is
// returned, nothing when there was no such image. A conflict means that a container uses it.
func (c *Client) RemoveImage(ctx context.Context, ref string, force bool) (v []doc.ImageDeleted, err error) {
	r := remove("remove image", "/images/"+ref, query("force", flag(force))).about(ref)
	err = c.do(ctx, r, &v)
	return v, err
}

// ImageHistory tells the sizes of an image's layers, among other entries.
func (c *Client) ImageHistory(ctx context.Context, id string) (h []doc.ImageHistory, err error) {
	err = c.do(ctx, get("read history of image", "/images/"+id+"/history", nil).about(id), &h)
	return h, err
}

// Distribution lets the engine ask the registry of an image whether it has it and for which platforms, by
// the way a pull would take. IsMissing tells of an engine that cannot.
func (c *Client) Distribution(ctx context.Context, ref string, auth *doc.AuthConfig) (d doc.Distribution, err error) {
	r := get("look for image", "/distribution/"+ref+"/json", nil).about(ref).within(registryPatience)
	r.auth = auth
	err = c.do(ctx, r, &d)
	return d, err
}
