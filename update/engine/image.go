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

// TagImage adds the name repo:tag to an image, or repo:latest when tag is empty. It succeeds if the image already has the
// name.
func (c *Client) TagImage(ctx context.Context, id, repo, tag string) error {
	return c.do(ctx, post("tag image", "/images/"+id+"/tag", query("repo", repo, "tag", tag), nil).about(id), nil)
}

// RemoveImage removes a tag, or the image if ref is its id or last tag. It returns what was removed, nothing if there is no
// such image. A conflict means that a container uses the image.
func (c *Client) RemoveImage(ctx context.Context, ref string, force bool) (v []doc.ImageDeleted, err error) {
	r := remove("remove image", "/images/"+ref, query("force", flag(force))).about(ref)
	err = c.do(ctx, r, &v)
	return v, err
}

// ImageHistory returns the sizes of an image's layers, among other entries.
func (c *Client) ImageHistory(ctx context.Context, id string) (h []doc.ImageHistory, err error) {
	err = c.do(ctx, get("read history of image", "/images/"+id+"/history", nil).about(id), &h)
	return h, err
}

// Distribution makes the engine ask the registry, as a pull does, whether it has the image and for which platforms. The
// error is IsMissing if the engine cannot do that.
func (c *Client) Distribution(ctx context.Context, ref string, auth *doc.AuthConfig) (d doc.Distribution, err error) {
	r := get("look up image", "/distribution/"+ref+"/json", nil).about(ref).within(registryTimeout)
	r.auth = auth
	err = c.do(ctx, r, &d)
	return d, err
}
