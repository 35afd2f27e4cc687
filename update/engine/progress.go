package engine

import (
	"strings"

	"resin-supervisor/update/engine/doc"
)

// progress computes the percentage of one pull from its messages (docs/spec/engine.md 8.8). It never decreases. The zero
// value is a pull that has just begun.
type progress struct {
	layers  map[string]layer
	percent int
}

// layer says how much of one layer is fetched and unpacked, each from 0 to 1.
type layer struct{ fetched, unpacked float64 }

// add takes the next message. A message that only announces a layer does not change the percentage. These come first, one
// by one: a layer that already exists would count as the whole image until the next one is announced.
func (p *progress) add(m *doc.PullMessage) {
	if m.ID == "" {
		if strings.HasPrefix(m.Status, "Status: ") { // the last message
			p.percent = 100
		}
		return
	}
	l, known := layerAt(m)
	if !known {
		return
	}
	if p.layers == nil {
		p.layers = map[string]layer{}
	}
	p.layers[m.ID] = l
	if !isAnnouncement(m.Status) {
		p.percent = max(p.percent, p.mean())
	}
}

// mean is the mean of all layers in percent, rounded down. Fetching and unpacking count half each.
func (p *progress) mean() int {
	var sum float64
	for _, l := range p.layers {
		sum += l.fetched + l.unpacked
	}
	return int(sum * 50 / float64(len(p.layers)))
}

// layerAt reads the state of a layer from a message; known is false if the message has none.
func layerAt(m *doc.PullMessage) (l layer, known bool) {
	switch m.Status {
	case "Pulling fs layer", "Waiting":
		return layer{}, true
	case "Downloading":
		return layer{fetched: fraction(m.ProgressDetail)}, true
	case "Verifying Checksum", "Download complete":
		return layer{fetched: 1}, true
	case "Extracting":
		return layer{fetched: 1, unpacked: fraction(m.ProgressDetail)}, true
	case "Pull complete", "Already exists":
		return layer{fetched: 1, unpacked: 1}, true
	}
	return layer{}, false
}

func isAnnouncement(status string) bool {
	return status == "Pulling fs layer" || status == "Waiting" || status == "Already exists"
}

// fraction is from 0 to 1; 0 while the total is not known.
func fraction(d doc.ProgressDetail) float64 {
	if d.Total <= 0 || d.Current <= 0 {
		return 0
	}
	return min(1, float64(d.Current)/float64(d.Total))
}
