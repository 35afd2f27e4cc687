package engine

import (
	"strings"

	"resin-supervisor/update/engine/doc"
)

// progress folds the messages of one pull into a whole percentage (docs/spec/engine.md 8.8). It never
// goes down. The zero value is a pull that has just begun.
type progress struct {
	layers  map[string]layer
	percent int
}

// layer is how much of one layer is fetched and unpacked, each from 0 to 1.
type layer struct{ fetched, unpacked float64 }

// add takes in the next message. The messages that only announce a layer do not move the
// percentage: they come first and one by one, and a layer that exists already would count as the
// whole image as long as it is the only one known.
func (p *progress) add(m *doc.PullMessage) {
	if m.ID == "" {
		if strings.HasPrefix(m.Status, "Status: ") { // the closing line
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

// mean is half of the mean of each, in percent, rounded down.
func (p *progress) mean() int {
	var sum float64
	for _, l := range p.layers {
		sum += l.fetched + l.unpacked
	}
	return int(sum * 50 / float64(len(p.layers)))
}

// layerAt reads the state of a layer; texts that are not about a layer's state are not known.
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

// fraction is 0 as long as the total is not known.
func fraction(d doc.ProgressDetail) float64 {
	if d.Total <= 0 || d.Current <= 0 {
		return 0
	}
	return min(1, float64(d.Current)/float64(d.Total))
}
