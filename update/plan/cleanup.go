package plan

import (
	"slices"
	"strings"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// cleanUp plans the removal of images without a name, and of image tags that earlier versions of the agent left
// (docs/spec/engine.md 8.7). Images of our records and containers stay. The engine itself refuses to remove an
// image that another container uses, because no removal is forced.
func cleanUp(cur *current.State, o *Options) []Step {
	if !o.CleanUp || len(cur.Pulls) > 0 {
		return nil
	}
	needed := make(map[string]bool)
	for _, r := range cur.Records {
		needed[r.EngineID] = true
	}
	for _, c := range cur.Containers {
		needed[c.ImageEngine] = true
	}
	var steps []Step
	add := func(name, id, reason string) {
		if !o.Kept[name] {
			steps = append(steps, Step{Kind: CleanUp, Key: "image " + name, Image: name, IDs: []string{id}, Reason: reason})
		}
	}
	var idle []string
	for id := range cur.Images {
		if !needed[id] {
			idle = append(idle, id)
		}
	}
	slices.Sort(idle)
	for _, id := range idle {
		image := cur.Images[id]
		if len(image.Tags) == 0 && len(image.Digests) == 0 {
			add(id, id, "the image has no name, and no app uses it")
		}
		for _, tag := range image.Tags {
			if isOldAgent(tag, o.Supervisor) {
				add(tag, id, "it is another version of the agent")
			}
		}
	}
	return steps
}

// isOldAgent reports whether a tag is another version of the agent: it is in the agent's repository, or in the one
// of its old name, and is not the agent's own tag. An agent that is known by digest has no tag to compare with.
func isOldAgent(tag string, own target.Reference) bool {
	if own.Repo == "" || own.Digest != "" {
		return false
	}
	r, err := target.ParseReference(tag)
	if err != nil || r.Tag == own.Tag {
		return false
	}
	name := own.Name()
	rest, renamed := strings.CutPrefix(name, "balena")
	return r.Name() == name || renamed && r.Name() == "resin"+rest
}
