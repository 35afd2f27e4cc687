package plan

import (
	"slices"
	"strings"

	"resin-supervisor/update/current"
	"resin-supervisor/update/target"
)

// cleanUp plans the removal of images that nobody named and of names that former versions of the
// agent left (docs/spec/engine.md 8.7). Images that a record or a container of ours stands on stay; what
// others stand on the engine knows, since nothing is removed with force.
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
			add(id, id, "the image has no name, and nothing of ours uses it")
		}
		for _, tag := range image.Tags {
			if isFormer(tag, o.Supervisor) {
				add(tag, id, "it is another version of the agent")
			}
		}
	}
	return steps
}

// isFormer tells whether a tag is in the agent's own repository, or in that of its old name, and is
// not the agent's own. An agent that is known by digest only has no tag to compare with.
func isFormer(tag string, own target.Reference) bool {
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
