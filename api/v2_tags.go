package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// The texts of docs/spec/device-api.md 2.26 and S20, S21.
const (
	textNoCloud       = "Attempt to communicate with API, without initialized client"
	textNotRegistered = "Attempt to retrieve device tags before provision"
	textTagsBody      = "Invalid tags body, must be an object like `{[tagKey: string]: string}`"
	textTagKey        = "Tag keys cannot contain whitespace"
	textTagReserved   = "Tag keys that begin with io.resin. or io.balena. are reserved"
)

// tags asks the cloud for the device's tags (docs/spec/device-api.md 2.26).
func (h *handlers) tags(c *call) Answer {
	switch facts := h.dev.Facts(); {
	case !facts.Managed:
		return fail(fasthttp.StatusInternalServerError, textNoCloud)
	case !facts.Registered:
		return fail(fasthttp.StatusInternalServerError, textNotRegistered)
	}
	var list []Tag
	// It counts as an action, because calls to a cloud that does not answer must not take all connections.
	err := h.runAction(func(ctx context.Context) (err error) {
		list, err = h.dev.Tags(ctx)
		return err
	})
	if err != nil {
		return fail(fasthttp.StatusInternalServerError, err.Error())
	}
	if list == nil {
		list = []Tag{}
	}
	return document(struct {
		Status string `json:"status"`
		Tags   []Tag  `json:"tags"`
	}{success, list})
}

// setTags stores tags, which are sent to the cloud later (docs/spec/device-api.md 2.27).
func (h *handlers) setTags(c *call) Answer {
	if !h.dev.Facts().Managed {
		return fail(fasthttp.StatusInternalServerError, textNoCloud)
	}
	tags, refusal := tagsOf(c)
	if refusal != "" {
		return fail(fasthttp.StatusBadRequest, refusal)
	}
	if len(tags) > 0 {
		switch err := h.dev.SetTags(tags); {
		case errors.Is(err, view.ErrTooManyTags):
			return fail(fasthttp.StatusBadRequest, err.Error())
		case err != nil:
			return fail(fasthttp.StatusInternalServerError, err.Error())
		}
	}
	return Answer{fasthttp.StatusAccepted, encode(struct {
		Status string `json:"status"`
	}{success})}
}

// tagsOf checks a map of tags in the order of its keys, and refuses it at the first mistake.
func tagsOf(c *call) (tags map[string]string, refusal string) {
	if c.body == nil && len(c.raw) > len("[]") {
		return nil, textTagsBody // a list; an empty one sets nothing
	}
	tags = make(map[string]string, len(c.body))
	for _, key := range slices.Sorted(maps.Keys(c.body)) {
		var text *string
		switch {
		case json.Unmarshal(c.body[key], &text) != nil || text == nil:
			return nil, textTagsBody
		case strings.ContainsFunc(key, unicode.IsSpace):
			return nil, textTagKey
		case strings.HasPrefix(key, "io.resin.") || strings.HasPrefix(key, "io.balena."):
			return nil, textTagReserved
		}
		tags[key] = *text
	}
	return tags, ""
}
