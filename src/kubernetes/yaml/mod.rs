//! YAML as text: a document is read with the place of everything in it, and changed by writing at those places, so that
//! comments, the order of keys and the way things are written stay as they are where nothing is changed.

mod node;
mod place;
mod render;
mod scalar;
mod splice;
mod style;
mod tree;
mod value;

pub(crate) use node::{Body, MERGE, Node};
pub(crate) use render::flow;
pub(crate) use splice::{Splice, apply, change, parent_of, put, region, take};
pub(crate) use tree::{Trouble, parse};
pub(crate) use value::{value, value_at};
