"""Stories of the accepted schemas: what their generated repositories do, in both flavours and on two servers."""
