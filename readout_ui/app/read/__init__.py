"""The room Read: texts and chats, coloured by what the vectors say of every token."""
