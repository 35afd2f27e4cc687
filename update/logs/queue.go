package logs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"resin-supervisor/update/view"
)

const (
	maxQueue = 256 << 10 // bytes of encoded lines that wait (docs/spec/cloud.md 5.3)
	maxBlock = 16 << 10  // bytes of a block, but for a single line that is longer
)

// queue holds encoded lines until they are sent, in blocks. When it is full, new lines are dropped
// and counted.
type queue struct {
	some chan struct{} // holds a token: lines came
	full chan struct{} // holds a token: a block is full

	mu         sync.Mutex
	blocks     []*block
	size       int // bytes of the blocks and of the one that is being sent
	suppressed int
	spare      *block
	room       chan struct{} // closed when there is room again; nil when nobody waits
}

// block is a part of the queue that is sent as a whole.
type block struct {
	text  []byte
	marks []mark // the last one of each output
}

// mark is the place of a line in the output of a container, the zero mark none.
type mark struct {
	track  *track
	stderr bool
	spot   spot
}

func newQueue() *queue {
	return &queue{some: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// add appends a line. Without room it is dropped, or with patience waits for as long as that is not
// over. It tells whether there is room for many more.
func (q *queue) add(l *view.LogLine, m mark, patience context.Context) (roomy bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.append(l, m) {
		if patience == nil {
			q.suppressed++
			return false
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-patience.Done():
			q.mu.Lock()
			return false
		}
		q.mu.Lock()
		if patience.Err() != nil {
			return false
		}
	}
	signal(q.some)
	return q.size <= maxQueue/2
}

// append encodes a line into the last block, or tells that there is no room for it.
func (q *queue) append(l *view.LogLine, m mark) bool {
	b := q.tail()
	before := len(b.text)
	b.text = appendLine(b.text, l, false)
	n := len(b.text) - before
	if q.size+n > maxQueue {
		b.text = b.text[:before]
		if before == 0 { // it was made for this line
			q.blocks, q.spare = q.blocks[:len(q.blocks)-1], b
		}
		return false
	}
	q.size += n
	b.note(m)
	if len(b.text) >= maxBlock {
		signal(q.full)
	}
	return true
}

// tail is the block that takes the next line.
func (q *queue) tail() *block {
	if n := len(q.blocks); n > 0 && len(q.blocks[n-1].text) < maxBlock {
		return q.blocks[n-1]
	}
	b := q.spare
	if q.spare = nil; b == nil {
		b = &block{}
	}
	q.blocks = append(q.blocks, b)
	return b
}

func (b *block) note(m mark) {
	if m.track == nil {
		return
	}
	for i := range b.marks {
		if o := &b.marks[i]; o.track == m.track && o.stderr == m.stderr {
			o.spot = m.spot
			return
		}
	}
	b.marks = append(b.marks, m)
}

// take returns the first block, which must be given back, nil when there is none; with whole, only
// one that takes no more lines. How many lines were dropped behind the last block is its last line.
func (q *queue) take(whole bool) *block {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.blocks) == 0 || len(q.blocks[0].text) == 0 || whole && len(q.blocks[0].text) < maxBlock {
		return nil
	}
	b := q.blocks[0]
	if len(q.blocks) == 1 && q.suppressed > 0 {
		before := len(b.text)
		b.text = appendLine(b.text, &view.LogLine{
			Message:   fmt.Sprintf("Warning: Suppressed %d message(s) due to high load", q.suppressed),
			Timestamp: time.Now().UnixMilli(), IsSystem: true, IsStdErr: true,
		}, false)
		q.size += len(b.text) - before
		q.suppressed = 0
	}
	q.blocks = append(q.blocks[:0], q.blocks[1:]...)
	return b
}

// sent gives back a block whose lines are through.
func (q *queue) sent(b *block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size -= len(b.text)
	b.text, b.marks = b.text[:0], b.marks[:0]
	q.spare = b
	q.release()
}

// unsent gives back a block whose lines are still to be sent.
func (q *queue) unsent(b *block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.blocks = append([]*block{b}, q.blocks...)
}

// clear drops all that waits.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.blocks {
		q.size -= len(b.text)
	}
	q.blocks, q.spare, q.suppressed = nil, nil, 0
	q.release()
}

// shrink gives up memory that was kept for the next lines.
func (q *queue) shrink() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = nil
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.blocks) == 0 || len(q.blocks[0].text) == 0
}

// release lets those go on that wait for room. The caller holds mu.
func (q *queue) release() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}
