package engine

import (
	"encoding/json"
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
)

// The two benchmarks together show what a connection for each call costs.

func BenchmarkInspect(b *testing.B) {
	e := harness.SharedEngine(b)
	image := harness.ServerImage("bench/web:bench-1").LoadInto(b, e)
	c := engine.New(e.Socket)
	made, err := c.CreateContainer(b.Context(), "", &doc.Create{Image: image.Name})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("own connection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Container(b.Context(), made.Id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("kept connection", func(b *testing.B) {
		for b.Loop() {
			var raw json.RawMessage
			e.Must(b, http.MethodGet, "/containers/"+made.Id+"/json", nil, &raw)
		}
	})
}
