//! The questions that `portcullis doctor` asks a live provider.
