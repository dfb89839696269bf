//! Reads a document into a tree of nodes.

use std::collections::BTreeSet;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

use super::node::{Body, Entry, MERGE, Node};

/// Why a text is not understood, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The byte.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) text: String,
}

/// Reads the one document that a text has; none is a text without one.
///
/// # Errors
/// What is wrong with the text, and where.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, Trouble> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_anchor_events: true,
        block_nesting_limit: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
    };
    let mut reader = Reader {
        text,
        events: Parser::new_from_str_with_options(text, options),
        ahead: None,
    };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if root.is_some() => {
                return Err(reader.trouble(&span, "a second document, without `---` in front"));
            }
            Event::DocumentStart(..) => {
                let (event, span) = reader.next()?;
                root = Some(reader.node(event, &span)?);
            }
            _ => return Err(reader.trouble(&span, "something outside of a document")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    ahead: Option<(Event<'a>, Span)>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Trouble> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(ahead);
        }
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Trouble {
                at: error.marker().byte_offset().unwrap_or_default(),
                text: error.info().to_owned(),
            }),
            None => Err(Trouble {
                at: self.text.len(),
                text: "the text ends in the middle".to_owned(),
            }),
        }
    }

    fn trouble(&self, span: &Span, text: &str) -> Trouble {
        let at = span.start.byte_offset().unwrap_or(self.text.len());
        let text = text.to_owned();
        Trouble { at, text }
    }

    /// The node that an event begins. Nesting is limited by the parser.
    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, Trouble> {
        let content = span.byte_range().unwrap_or_default();
        let mut begins = match &event {
            // The parser begins behind the line of the indicator.
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                let before = self.text.get(..content.start).unwrap_or_default();
                before.rfind(['|', '>']).unwrap_or(content.start)
            }
            _ => content.start,
        };
        if let Some(tag) = span.tag_span().and_then(|tag| tag.byte_range()) {
            begins = begins.min(tag.start);
        }
        let (next, at) = self.next()?;
        if let (Event::Anchor(..), Some(anchor)) = (&next, at.byte_range()) {
            begins = begins.min(anchor.start);
        } else {
            self.ahead = Some((next, at));
        }
        let column = span.start.col();
        let (body, anchor, ends) = self.body(event, span, content)?;
        Ok(Node {
            body,
            span: begins.min(ends)..ends,
            column,
            anchor,
        })
    }

    fn body(
        &mut self,
        event: Event<'a>,
        span: &Span,
        content: Range<usize>,
    ) -> Result<(Body, usize, usize), Trouble> {
        Ok(match event {
            Event::Alias(anchor) => (Body::Alias(anchor), 0, content.end),
            Event::Scalar(value, style, anchor, tag) => {
                let ends = match style {
                    ScalarStyle::Literal | ScalarStyle::Folded => {
                        self.end_of_block(&content, &value)
                    }
                    _ => content.end,
                };
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let text = if is_plain && content.is_empty() {
                    String::new()
                } else {
                    value.into_owned()
                };
                (Body::Scalar { text, is_plain }, anchor, ends)
            }
            Event::SequenceStart(style, anchor, _) => {
                let is_flow = style == StructureStyle::Flow;
                let (items, ends) = self.items(content.end)?;
                let ends = if is_flow {
                    ends
                } else {
                    items.last().map_or(content.end, |last| last.span.end)
                };
                (Body::List { is_flow, items }, anchor, ends)
            }
            Event::MappingStart(style, anchor, _) => {
                let is_flow = style == StructureStyle::Flow;
                let (entries, ends) = self.entries(content.end)?;
                let ends = if is_flow {
                    ends
                } else {
                    entries.last().map_or(content.end, Entry::end)
                };
                (Body::Map { is_flow, entries }, anchor, ends)
            }
            _ => return Err(self.trouble(span, "something that is no value")),
        })
    }

    /// The end of the last line that is part of a block scalar, without its line feed. The parser's own end is where the
    /// next token begins.
    fn end_of_block(&self, content: &Range<usize>, value: &str) -> usize {
        let raw = self.text.get(content.clone()).unwrap_or_default();
        let end = value.trim_end_matches('\n');
        // Lines of spaces that are further in than it are part of it, too.
        if value.len() - end.len() < 2 && !end.ends_with([' ', '\t']) {
            return content.start + raw.trim_end().len();
        }
        // All blank lines belong to it.
        let raw = raw.trim_end_matches([' ', '\t']);
        let raw = raw.strip_suffix('\n').unwrap_or(raw);
        content.start + raw.strip_suffix('\r').unwrap_or(raw).len()
    }

    fn items(&mut self, mut ends: usize) -> Result<(Vec<Node>, usize), Trouble> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                ends = span.byte_range().map_or(ends, |range| range.end);
                return Ok((items, ends));
            }
            items.push(self.node(event, &span)?);
        }
    }

    fn entries(&mut self, mut ends: usize) -> Result<(Vec<Entry>, usize), Trouble> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                ends = span.byte_range().map_or(ends, |range| range.end);
                return Ok((entries, ends));
            }
            let key = self.node(event, &span)?;
            // The merge key may be there more than once.
            if let Some(name) = key.text().filter(|name| *name != MERGE)
                && !seen.insert(name.to_owned())
            {
                return Err(self.trouble(&span, &format!("the key {name} is there twice")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            let rest = self.text.get(key.span.end..).unwrap_or_default();
            let colon = rest.len() - rest.trim_start().len();
            let has_colon = rest.trim_start().starts_with(':');
            let behind_key = key.span.end + if has_colon { colon + 1 } else { 0 };
            entries.push(Entry {
                key,
                behind_key,
                value,
            });
        }
    }
}

/// No manifest is nested like that.
const MAX_DEPTH: usize = 64;
