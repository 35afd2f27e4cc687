package logs

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// deflater compresses into one gzip stream (RFC 1951, 1952). It knows the fixed codes and
// looks for repetitions in the last few kilobytes only: lines of a log repeat one another, and this
// takes 28 KB of memory, where a general compressor takes 650.
type deflater struct {
	out  []byte // what was not taken yet
	acc  uint64 // bits that do not fill a byte yet, the first one lowest
	have uint   // how many
	open bool   // a block was begun
	sum  uint32 // CRC-32 of all that was written
	size uint32 // its length, modulo 4 GiB

	data []byte // the window and behind it the input at work
	base uint32 // position of data[0] in the stream
	last [1 << tableBits]uint32
}

const (
	tableBits = 12
	window    = 8 << 10 // bytes that a repetition may reach back
	portion   = 4 << 10 // bytes taken at once
	minMatch  = 4
	maxMatch  = 258
	endBlock  = 256
)

// newDeflater begins a stream. Position 0 means nowhere, so the first byte has another one.
func newDeflater() *deflater {
	return &deflater{
		out:  []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255},
		data: make([]byte, 0, window+portion), base: 1,
	}
}

// write compresses p. What a reader needs of it to see its end comes with flush.
func (d *deflater) write(p []byte) {
	d.sum = crc32.Update(d.sum, crc32.IEEETable, p)
	d.size += uint32(len(p))
	if !d.open && len(p) > 0 {
		d.open = true
		d.bits(0b010, 3) // not the last block, fixed codes
	}
	for len(p) > 0 {
		n := min(len(p), portion)
		if over := len(d.data) + n - cap(d.data); over > 0 {
			over = len(d.data) - window
			d.data = d.data[:copy(d.data, d.data[over:])]
			d.base += uint32(over)
		}
		from := len(d.data)
		d.data = append(d.data, p[:n]...)
		d.portion(from)
		p = p[n:]
	}
}

// portion compresses data from an index on.
func (d *deflater) portion(i int) {
	for i+minMatch <= len(d.data) {
		length, distance := d.match(i)
		if length == 0 {
			d.symbol(uint(d.data[i]))
			i++
			continue
		}
		d.repeat(uint(length), uint(distance))
		i += length
	}
	for ; i < len(d.data); i++ {
		d.symbol(uint(d.data[i]))
	}
}

// match looks for an earlier place that goes on as index i does.
func (d *deflater) match(i int) (length, distance int) {
	word := binary.LittleEndian.Uint32(d.data[i:])
	slot := &d.last[word*2654435761>>(32-tableBits)]
	seen := int(int32(*slot - d.base))
	*slot = d.base + uint32(i)
	if seen < 0 || seen >= i || i-seen > window || binary.LittleEndian.Uint32(d.data[seen:]) != word {
		return 0, 0
	}
	length = minMatch
	for length < maxMatch && i+length < len(d.data) && d.data[seen+length] == d.data[i+length] {
		length++
	}
	return length, i - seen
}

// flush lets a reader see all that was written: an empty block ends on a byte.
func (d *deflater) flush() {
	d.endBlock()
	d.bits(0, 3)
	d.bits(0, (8-d.have)%8)
	d.out = append(d.out, 0, 0, 0xff, 0xff)
}

// finish ends the stream: the last block is empty, then come the checksum and the length of the whole.
func (d *deflater) finish() {
	d.endBlock()
	d.bits(0b011, 3) // the last block, fixed codes
	d.symbol(endBlock)
	d.bits(0, (8-d.have)%8)
	d.out = binary.LittleEndian.AppendUint32(d.out, d.sum)
	d.out = binary.LittleEndian.AppendUint32(d.out, d.size)
}

func (d *deflater) endBlock() {
	if d.open {
		d.symbol(endBlock)
		d.open = false
	}
}

// take hands out the bytes that are complete; they are valid until the next call of another method.
func (d *deflater) take() []byte {
	p := d.out
	d.out = d.out[:0]
	return p
}

func (d *deflater) bits(value uint64, n uint) {
	d.acc |= value << d.have
	for d.have += n; d.have >= 8; d.have -= 8 {
		d.out = append(d.out, byte(d.acc))
		d.acc >>= 8
	}
}

// symbol writes a literal, a length code or the end of the block.
func (d *deflater) symbol(s uint) {
	switch {
	case s < 144:
		d.code(0x30+s, 8)
	case s < 256:
		d.code(0x190+s-144, 9)
	case s < 280:
		d.code(s-256, 7)
	default:
		d.code(0xc0+s-280, 8)
	}
}

// code writes a code of the table, which has its first bit highest.
func (d *deflater) code(c, n uint) { d.bits(uint64(bits.Reverse16(uint16(c))>>(16-n)), n) }

// repeat writes that length bytes are those of distance bytes before.
func (d *deflater) repeat(length, distance uint) {
	v := length - 3
	switch {
	case length == maxMatch:
		d.symbol(285)
	case v < 8:
		d.symbol(257 + v)
	default:
		extra := uint(bits.Len(v)) - 3
		d.symbol(257 + 4*extra + v>>extra)
		d.bits(uint64(v&(1<<extra-1)), extra)
	}
	v = distance - 1
	if v < 4 {
		d.code(v, 5)
		return
	}
	extra := uint(bits.Len(v)) - 2
	d.code(2*extra+v>>extra, 5)
	d.bits(uint64(v&(1<<extra-1)), extra)
}
